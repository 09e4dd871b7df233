package broker

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/mqttwire"
)

// handshake reads and judges the CONNECT, and the TLS handshake before it, all
// under one deadline.
func (c *connection) handshake(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.broker.settings.ConnectTimeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	c.setReadDeadline(deadline)
	if secure, ok := c.socket.(*tls.Conn); ok {
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
	}
	frame, err := mqttwire.ReadFrame(c.stream, c.broker.settings.MaxConnectBytes, allocate)
	if err != nil {
		return err
	}
	if frame.Type != mqttwire.Connect {
		return mqttwire.Refuse(mqttwire.ProtocolError, "the first packet is not CONNECT")
	}
	packet, err := mqttwire.DecodeConnect(frame.Body)
	c.version = packet.Version
	if err != nil {
		return err
	}
	if err := c.judge(ctx, packet); err != nil {
		return err
	}
	c.adopt(packet)
	return nil
}

func allocate(_ mqttwire.PacketType, size int) ([]byte, error) { return make([]byte, size), nil }

// judge refuses a CONNECT that is well formed but not welcome.
func (c *connection) judge(ctx context.Context, packet *mqttwire.ConnectPacket) error {
	b := c.broker
	if packet.Properties.Has(mqttwire.AuthenticationMethod) {
		return mqttwire.Refuse(mqttwire.BadAuthenticationMethod, "no authentication method is supported")
	}
	assignable := packet.Version == mqttwire.Version5 || packet.Version == mqttwire.Version311 && packet.CleanStart
	if packet.ClientID == "" && !assignable {
		return mqttwire.Refuse(mqttwire.ClientIDNotValid, "a session needs a client id")
	}
	if len(packet.ClientID) > b.settings.MaxTopicBytes {
		return mqttwire.Refuse(mqttwire.ClientIDNotValid, "the client id is too long")
	}
	login := &Login{
		ClientID: packet.ClientID, HasUser: packet.HasUser, User: packet.User, Password: packet.Password,
		Remote: c.socket.RemoteAddr(),
	}
	if secure, ok := c.socket.(*tls.Conn); ok {
		state := secure.ConnectionState()
		login.TLS = &state
	}
	if err := b.authorizer.Authenticate(ctx, login); err != nil {
		return refuseLogin(err)
	}
	if packet.ClientID == "" {
		packet.ClientID = "auto-" + rand.Text()
		c.assignedID = true
	}
	if w := packet.Will; w != nil {
		r := b.settings.route(w.Topic)
		if reason := b.refuse(&r, packet.ClientID, len(w.Payload)); reason != mqttwire.Success {
			return mqttwire.Refuse(reason, "the will is not allowed")
		}
	}
	return nil
}

func refuseLogin(err error) error {
	switch edge.AsError(err).Code {
	case edge.Unauthenticated:
		return mqttwire.Refuse(mqttwire.BadUserNameOrPassword, err.Error())
	case edge.Forbidden:
		return mqttwire.Refuse(mqttwire.NotAuthorized, err.Error())
	}
	return mqttwire.Refuse(mqttwire.ServerUnavailable, err.Error())
}

// adopt keeps what the connection needs of its CONNECT.
func (c *connection) adopt(packet *mqttwire.ConnectPacket) {
	settings := &c.broker.settings
	c.clientID, c.cleanStart = packet.ClientID, packet.CleanStart
	if packet.Will != nil {
		c.will = newWill(packet.ClientID, packet.Will)
	}
	c.idle = time.Duration(packet.KeepAlive) * time.Second * 3 / 2
	if packet.Version != mqttwire.Version5 {
		if c.idle == 0 {
			c.idle = settings.IdleLimit
		}
		if !packet.CleanStart {
			c.sessionExpiry = settings.MaxSessionExpiry
		}
		return
	}
	if packet.KeepAlive == 0 || time.Duration(packet.KeepAlive)*time.Second > settings.MaxKeepAlive {
		c.keepAlive = settings.MaxKeepAlive
		c.idle = c.keepAlive * 3 / 2
	}
	number := func(id mqttwire.PropertyID) int {
		value, _ := packet.Properties.Number(id)
		return int(value)
	}
	c.sessionExpiry = min(time.Duration(number(mqttwire.SessionExpiry))*time.Second, settings.MaxSessionExpiry)
	c.receiveMaximum = number(mqttwire.ReceiveMaximum)
	c.maxPacketBytes = number(mqttwire.MaximumPacketSize)
	problems, asked := packet.Properties.Number(mqttwire.RequestProblemInfo)
	c.reasonOnly = asked && problems == 0
	c.maxAliases = min(number(mqttwire.TopicAliasMaximum), int(settings.TopicAliasMaximum))
}

// window is how many deliveries may be under way to the client.
func (c *connection) window() int {
	if c.receiveMaximum > 0 {
		return min(c.receiveMaximum, c.broker.settings.Window)
	}
	return c.broker.settings.Window
}

// connackProperties says what the server decided where the client may believe
// something else.
func (c *connection) connackProperties() mqttwire.Properties {
	settings := &c.broker.settings
	properties := mqttwire.Properties{
		{ID: mqttwire.ReceiveMaximum, Number: uint32(settings.ReceiveMaximum)},
		{ID: mqttwire.MaximumPacketSize, Number: uint32(settings.MaxPacketBytes)},
		{ID: mqttwire.TopicAliasMaximum, Number: uint32(settings.TopicAliasMaximum)},
	}
	if c.sessionExpiry == settings.MaxSessionExpiry {
		properties = append(properties, mqttwire.Property{ID: mqttwire.SessionExpiry, Number: uint32(c.sessionExpiry / time.Second)})
	}
	if c.assignedID {
		properties = append(properties, mqttwire.Property{ID: mqttwire.AssignedClientID, Value: []byte(c.clientID)})
	}
	if c.keepAlive > 0 {
		properties = append(properties, mqttwire.Property{ID: mqttwire.ServerKeepAlive, Number: uint32(c.keepAlive / time.Second)})
	}
	return properties
}
